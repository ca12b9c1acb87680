"""Safety: the governor that watches the loss of a host and rolls it back."""
