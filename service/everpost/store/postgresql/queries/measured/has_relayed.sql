SELECT EXISTS (SELECT FROM everpost_meta WHERE key = 'epoch')
