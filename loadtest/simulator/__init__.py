"""The whole cluster in virtual time: the live policies between simulated machines, photos and networks."""
