"""What every service stands on: delivery, storage, identity, telemetry. It knows no service by name."""
