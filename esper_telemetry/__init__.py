"""Typed telemetry for reinforcement learning and PyTorch training."""
