"""The commands of `pika-git`, a module each."""
