"""What runs inside a sandbox: imports of the host errors, cryptography, the domain and the channel's sessions only."""
