KIND = 'instructions'
