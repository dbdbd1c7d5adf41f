"""The process that shows pages: one per JupyterLab, behind its proxy, a client of the node like any other."""
