"""The preprocessing tier: hostile bytes in, uint8 pixels out. It knows input specs, never models."""
