"""Other people's trainers: an adapter for each, over the public API alone.

| module | for | what it is |
|---|---|---|
| `sb3` | Stable-Baselines3, sb3-contrib | a callback and a logger's output format |
| `torchrl` | TorchRL | a logger, and counters from a tensordict |
| `lightning` | Lightning | a logger |
| `hf` | Hugging Face Trainer | a callback, and `report_to="esper"` |
| `gymnasium` | vector environments | a wrapper that marks reset steps, counts and records episodes |
| `cleanrl` | single-file scripts | a look-alike of TensorBoard's `SummaryWriter` |

Strategy: each takes a run that the user has opened, so that its end is the user's `with` block, and imports its
framework when it is imported itself. None changes what is trained, reads a value of a device, or raises into the loop.
"""
