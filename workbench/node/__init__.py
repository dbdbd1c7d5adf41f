"""The node of one institution: sign-in, jobs, the staff API, the peer API and the services behind operations."""
