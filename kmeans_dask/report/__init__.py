"""HTML pages and plots of jobs, stores and images."""
