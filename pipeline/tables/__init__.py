"""Tables of behaviour: item graphs, item statistics and popularity, counted from the events before a moment."""
