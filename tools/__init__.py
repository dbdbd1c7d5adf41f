"""Tools of the checkout: they are run from it and are no part of the distribution."""
