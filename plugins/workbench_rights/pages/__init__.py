"""Parts of the page Rights desk: requests, complaints, tasks, and what can be done with each."""
