KIND = 'profile'
