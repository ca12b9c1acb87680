"""What the long-running processes share: supervised tasks, and the port that serves metrics. No gRPC, no storage."""

__all__: list[str] = []
