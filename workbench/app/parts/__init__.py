"""What pages of all plugins are put together from: layout, short texts, keys, drawers, uploads. docs/pages.md section 8.

Texts of these parts come from the plugin's own locale files (`key.*`, `drawer.close`), so a page can say what a key does on it.
"""
