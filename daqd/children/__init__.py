"""The processes of the daemon beside itself: started, told, listened to, started again."""
