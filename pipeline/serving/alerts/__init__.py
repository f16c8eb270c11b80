"""What people work with: alerts, their reasons, and incidents."""
