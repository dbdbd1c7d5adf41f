"""The page Consent: who may be used, for how long, and what has to be dealt with. Clients of the node; docs/pages.md."""
