"""The two verifiers of an evidence package, in parts. Document: docs/protocols/package.md section 7.

The Python parts are also ordinary modules, so that they can be tested and type-checked; `assemble` joins them into the
one file `verify.py`, which runs on Python 3.9 with the standard library alone. They therefore import nothing but that
and one another, and speak in the sentences of `words`, which `verify.html` carries too.
"""
