# The push notification server.
{ staged }:
staged {
  title = "check-notifications";
  description = "Notification server, against a PostgreSQL of its own";
  trigger = "branch";
  jobs.pika-notifications.resources.memoryMib = 2048;
}
