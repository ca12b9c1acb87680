"""The reference trainer: a network that grows while it trains, and the policy that grows it."""
