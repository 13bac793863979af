"""Load: arrivals, and policies under it in virtual time. It imports the tiers' pure policies and nothing that has a loop."""
