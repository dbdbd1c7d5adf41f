"""The pages Intersection and Inbox: clients of the node, without a rule, a key or a query of their own.

`names`, `answers` and `rows` are pure functions from the node's replies to what components show; the other modules hold
one view each. Contract: docs/pages.md; look and words: the project's experience rules.
"""
