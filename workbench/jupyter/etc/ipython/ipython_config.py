# Kernels keep no history of what was typed: it could hold prompts or personal data.
c.HistoryManager.enabled = False  # type: ignore[name-defined]  # noqa: F821 - IPython gives `c` to its configuration

# The cell magic %%ask.
c.InteractiveShellApp.extensions = ["workbench.jupyter.magics"]  # type: ignore[name-defined]  # noqa: F821
