"""Workflow tasks: scheduled, offered, started, completed, failed, timed out.

Role: the steps that other families use to schedule a task (`steps`), the life of an attempt (`attempts`), the reply to
a poller (`reply`), and a task given back by a sticky queue that nobody polls (`unstick`).
Not here: the commands and messages that a completion carries (`commands`).
"""
