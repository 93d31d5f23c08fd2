"""The suite's services, each on its own, and what they share: chassis and profile."""
