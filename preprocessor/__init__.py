"""The preprocessing tier: hostile bytes in, uint8 RGB pixels out. It knows input specs, never models."""
