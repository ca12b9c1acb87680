"""The growing network: a host with slots, the seeds planted in them, and the life of a seed."""
