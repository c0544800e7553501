KIND = 'slowdisk'
