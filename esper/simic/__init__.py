"""Learning: what a policy sees and does, how hosts are trained, and the two loops."""
