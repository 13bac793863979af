"""The models' virtualenvs: from what R&D wants (`requirements.in`) over hashed locks to built, verified environments."""
