"""What people see: pages that work without scripts, in Chinese and English."""
