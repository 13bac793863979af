"""ChannelLost: what whoever sends on a channel is told when there is none any more."""


class ChannelLost(ConnectionError):
    """The connection ended (or was never there) before the answer came."""
