from tests.e2e.training.activities import compose_greeting, my_activity
from tests.e2e.training.workflows import GreetingWorkflow, Inheriting

worker = {
    "task_queue": "training",
    "workflows": [GreetingWorkflow, Inheriting],
    "activities": [compose_greeting, my_activity],
}
