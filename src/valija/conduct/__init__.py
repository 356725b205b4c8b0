"""What users do with their accounts: counted, kept within limits, and stopped where it looks stolen."""
