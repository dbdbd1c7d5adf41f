"""What the page Quantum channel is made of."""
