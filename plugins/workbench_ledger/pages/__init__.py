"""Parts of the plugin's pages: pure texts and rows here, components in the browser beside them. See docs/pages.md."""
