"""The labels of guests in Incus, and how long they last."""

RUN_LABEL = "user.pikaci.run_id"
JOB_LABEL = "user.pikaci.job_id"
OWNER_LABEL = "user.pikaci.owner"
EXPIRY_LABEL = "user.pikaci.expires"
"""Until when a kept guest is kept, in seconds since 1970."""
