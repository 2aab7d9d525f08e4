"""The claims about critics, each with the criterion that decides it and the runs that it needs."""
