"""What an event may say of a view. Pure."""
