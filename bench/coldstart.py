KIND = 'coldstart'
