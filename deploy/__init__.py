"""Starting and keeping a cluster: the local supervisor."""
