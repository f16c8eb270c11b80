"""What a trained model computes, in NumPy alone: scoring needs no PyTorch."""
