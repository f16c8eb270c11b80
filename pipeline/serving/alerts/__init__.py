"""What people work with: alerts and their reasons."""
