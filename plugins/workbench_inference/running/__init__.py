"""Who is on duty when, and risks that somebody watches: small records of the people who run sandboxes, at both roles. Requirement K12."""
