"""The program ``shortlist``: ask a running gateway, look after its release, and run the checkout's own programs."""
