"""Pages of the sandbox: questions, leases, the provider, models and documents."""
