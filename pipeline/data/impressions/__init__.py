"""The gateway's log of impressions: reading it, and how positions bias what users choose."""
