"""Records judged as they come: streams, their stretches, folders, and what is counted of them."""
